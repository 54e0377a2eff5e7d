-- The 25 questions that the views answer, most asked first: one SELECT each, one text for SQLite, PostgreSQL, MariaDB.
-- "Now" is the newest observation (report_clock) or the server's own (observed_at); the last whole day before it is
-- the newest one of the calendar that was over then.

-- 1 Which jobs failed or warned last night?
SELECT run.job_name, run.organization_name, run.final_status, run.attempts, run.first_started_at
FROM rpt_run AS run
JOIN run_status ON run_status.status = run.final_status
WHERE run_status.status_group IN ('Failed', 'Warning')
  AND run.day >= (SELECT MAX(day) FROM calendar JOIN report_clock ON calendar.ends_at <= report_clock.as_of_at)
ORDER BY run.first_started_at, run.job_name;

-- 2 When was the last good backup of each job, and how old is it?
SELECT job_name, organization_name, last_success_at, seconds_since_success, last_success_strict_at
FROM rpt_job_current
ORDER BY COALESCE(seconds_since_success, 9999999999) DESC, job_name;

-- 3 What did each run of one job do, over some months?
SELECT run.first_started_at, run.final_ended_at, run.final_status, run.attempts, run.elapsed_seconds,
       run.transferred_bytes
FROM rpt_run AS run
JOIN calendar ON calendar.day = run.day
WHERE run.job_name = 'Mail' AND calendar.month_label >= '2026-02'
ORDER BY run.first_started_at;

-- 4 Which jobs should have run and didn't?
SELECT job_name, expected_at, expected_local, outcome, reason
FROM rpt_missed_run
WHERE outcome IN ('missed', 'overlapped')
ORDER BY expected_at DESC, job_name;

-- 5 Is the success rate getting worse, week by week?
SELECT iso_week_label, SUM(runs) AS runs, SUM(runs_failed) AS failed, SUM(runs_missed) AS missed,
       ROUND(100.0 * SUM(runs_success) / NULLIF(SUM(runs), 0), 1) AS success_pct_strict,
       ROUND(100.0 * SUM(runs_success + runs_warning) / NULLIF(SUM(runs), 0), 1) AS success_pct_lenient
FROM rpt_status_trend_daily
GROUP BY iso_week_label
ORDER BY iso_week_label;

-- 6 Why did runs fail: what is logged most often, and what is new?
SELECT message_pattern, occurrences, jobs_affected, first_seen_at, last_seen_at, is_new
FROM rpt_error_top
WHERE severity = 'Error' AND message_pattern NOT LIKE 'Job finished with error%'
ORDER BY occurrences DESC, message_pattern;

-- 7 Which runs took unusually long, and do they get longer from week to week?
SELECT lasted.job_name, calendar.iso_week_label, COUNT(*) AS sessions,
       ROUND(AVG(lasted.duration_seconds), 0) AS mean_seconds, MAX(lasted.duration_seconds) AS longest_seconds,
       SUM(CASE WHEN lasted.anomaly <> 'normal' THEN 1 ELSE 0 END) AS unusual
FROM rpt_duration_anomaly AS lasted
JOIN calendar ON calendar.day = lasted.day
WHERE lasted.status IN ('Success', 'Warning')
GROUP BY lasted.job_id, lasted.job_name, calendar.iso_week_label
ORDER BY lasted.job_name, calendar.iso_week_label;

-- 8 Did each customer meet the SLA this month, with evidence?
SELECT organization_name, SUM(runs_expected) AS expected, SUM(runs_met) AS met, SUM(runs_late) AS late,
       SUM(runs_missed) AS missed, SUM(runs_not_observed) AS not_observed,
       ROUND(100.0 * SUM(runs_met) / NULLIF(SUM(runs_expected), 0), 1) AS sla_pct,
       MAX(days_incomplete) AS days_incomplete
FROM rpt_sla_monthly
WHERE month_label = (SELECT month_label FROM calendar JOIN report_clock ON as_of_at >= starts_at AND as_of_at < ends_at)
GROUP BY organization_id, organization_name
ORDER BY organization_name;

-- 9 How do data and objects grow?
SELECT month_label, iso_week_label, SUM(transferred_bytes) AS transferred_bytes, SUM(items_processed) AS items_processed
FROM rpt_status_trend_daily
WHERE job_kind = 'backup'
GROUP BY month_label, iso_week_label
ORDER BY month_label, iso_week_label;

-- 10 How do the organizations compare?
SELECT organization_name, COUNT(DISTINCT job_id) AS jobs, SUM(runs) AS runs, SUM(runs_failed) AS failed,
       ROUND(100.0 * SUM(runs_success + runs_warning) / NULLIF(SUM(runs), 0), 1) AS success_pct_lenient,
       SUM(transferred_bytes) AS transferred_bytes
FROM rpt_job_day
WHERE job_kind = 'backup'
GROUP BY organization_id, organization_name
ORDER BY organization_name;

-- 11 Which jobs fail again and again, and since when?
SELECT job_name, organization_name, failures_in_a_row, first_failure_at, last_failure_at
FROM rpt_failure_streak
WHERE is_still_failing = 1 AND failures_in_a_row > 1
ORDER BY failures_in_a_row DESC, job_name;

-- 12 What jobs exist, for whom, where to, on which schedule?
SELECT job_name, job_kind, organization_name, repository_name, schedule_text, is_enabled, next_run_at
FROM rpt_job_current
ORDER BY organization_name, job_name;

-- 13 What runs now, and longer than usual?
SELECT job_name, organization_name, last_session_started_at, running_seconds, baseline_seconds
FROM rpt_job_current
WHERE is_running = 1 AND running_seconds > baseline_seconds
ORDER BY running_seconds DESC, job_name;

-- 14 Which jobs are disabled, have no schedule, or never ran?
SELECT job_name, is_enabled, is_schedule_enabled, schedule_type, last_session_started_at
FROM rpt_job_current
WHERE is_enabled = 0 OR is_schedule_enabled = 0 OR schedule_type = 'ManualOnly' OR last_session_started_at IS NULL
ORDER BY job_name;

-- 15 Do jobs stay inside the backup window?
SELECT job_name, weekday_name, hour, busy_seconds, busy_seconds_outside_window
FROM rpt_hour_heatmap
WHERE busy_seconds_outside_window > 0
ORDER BY job_name, monday_first, hour;

-- 16 When do jobs collide?
SELECT day, hour, sessions_peak, sessions_active, jobs_active, busy_seconds
FROM rpt_concurrency
WHERE sessions_peak > 1
ORDER BY sessions_peak DESC, day, hour
LIMIT 5;

-- 17 What changed in the configuration, and when?
SELECT detected_at, not_before, job_name, change_type, field, old_value, new_value
FROM rpt_job_change
WHERE detected_at > (SELECT MIN(detected_at) FROM rpt_job_change AS seen_first
                     WHERE seen_first.server_id = rpt_job_change.server_id)
ORDER BY detected_at DESC, job_name, field;

-- 18 Where is the bottleneck, and what is the throughput?
SELECT job_name, bottleneck, COUNT(*) AS sessions, SUM(transferred_bytes) AS transferred_bytes,
       SUM(duration_seconds) AS duration_seconds,
       ROUND(1.0 * SUM(transferred_bytes) / NULLIF(SUM(duration_seconds), 0), 0) AS bytes_per_second
FROM rpt_job_session
WHERE status_group IN ('Success', 'Warning')
GROUP BY job_id, job_name, bottleneck
ORDER BY bytes_per_second DESC, job_name;

-- 19 What is the load of each repository and proxy, and how full are the repositories?
SELECT attempt.repository_name, attempt.proxy_name, COUNT(*) AS sessions, SUM(attempt.duration_seconds) AS busy_seconds,
       SUM(attempt.transferred_bytes) AS transferred_bytes, MAX(oldest.used_bytes) AS used_bytes_before,
       MAX(newest.used_bytes) AS used_bytes, MAX(newest.free_bytes) AS free_bytes
FROM rpt_job_session AS attempt
LEFT JOIN rpt_repository_day AS newest ON newest.repository_id = attempt.repository_id
     AND newest.day = (SELECT MAX(day) FROM rpt_repository_day WHERE repository_id = attempt.repository_id)
LEFT JOIN rpt_repository_day AS oldest ON oldest.repository_id = attempt.repository_id
     AND oldest.day = (SELECT MIN(day) FROM rpt_repository_day WHERE repository_id = attempt.repository_id)
GROUP BY attempt.repository_id, attempt.repository_name, attempt.proxy_name
ORDER BY attempt.repository_name, attempt.proxy_name;

-- 20 Does the copy keep up?
SELECT copy_job_name, job_name, COUNT(*) AS backups, SUM(is_copied) AS copied,
       ROUND(AVG(copy_lag_seconds), 0) AS mean_lag_seconds, MAX(copy_lag_seconds) AS longest_lag_seconds,
       MAX(backup_ended_at) AS last_backup_at, MAX(copied_at) AS last_copied_at
FROM rpt_copy_lag
GROUP BY copy_job_id, copy_job_name, job_name
ORDER BY copy_job_name;

-- 21 Can I trust this: how fresh is it, and is there a gap?
SELECT fresh.server_name, fresh.last_good_sync_at, fresh.rejected_open,
       CASE WHEN fresh.seconds_since_good_sync < 7200 THEN 1 ELSE 0 END AS is_fresh,
       COUNT(DISTINCT gap.day) AS days_incomplete, MIN(gap.day) AS first_incomplete, MAX(gap.day) AS last_incomplete
FROM rpt_data_freshness AS fresh
LEFT JOIN rpt_job_day AS gap ON gap.server_id = fresh.server_id AND gap.is_data_complete = 0
     AND gap.day <= (SELECT MAX(day) FROM calendar JOIN report_clock ON calendar.ends_at <= report_clock.as_of_at)
GROUP BY fresh.server_id, fresh.server_name, fresh.last_good_sync_at, fresh.rejected_open, fresh.seconds_since_good_sync
ORDER BY fresh.server_name;

-- 22 How did all jobs stand at the end of a day, deleted ones too?
SELECT job_name, organization_name, last_status, last_run_at, next_run_at, schedule_text, is_enabled
FROM rpt_job_history
JOIN calendar ON calendar.day = '2026-03-04' AND valid_from < ends_at AND (valid_to >= ends_at OR valid_to IS NULL)
ORDER BY job_name;

-- 23 How often do retries save us?
SELECT job_name, COUNT(*) AS runs, SUM(CASE WHEN attempts > 1 THEN 1 ELSE 0 END) AS retried,
       SUM(is_success_lenient - is_first_attempt_success) AS saved, SUM(is_failure) AS failed
FROM rpt_run
WHERE final_ended_at IS NOT NULL
GROUP BY job_id, job_name
HAVING SUM(CASE WHEN attempts > 1 THEN 1 ELSE 0 END) > 0
ORDER BY job_name;

-- 24 Which jobs are always yellow for the same reason?
SELECT warned.job_name, warned.message_pattern, COUNT(DISTINCT warned.session_id) AS sessions_warned,
       (SELECT COUNT(*) FROM rpt_job_session WHERE job_id = warned.job_id AND ended_at IS NOT NULL) AS sessions
FROM rpt_session_message AS warned
WHERE warned.status = 'Warning' AND warned.severity = 'Warning'
  AND warned.message_pattern NOT LIKE 'Job finished with warning%'
GROUP BY warned.job_id, warned.job_name, warned.message_pattern
HAVING COUNT(DISTINCT warned.session_id) > 4
ORDER BY sessions_warned DESC, warned.job_name;

-- 25 Did a change of the configuration help? Runs whose version is not certain are counted apart
SELECT edit.job_name, edit.detected_at, edit.field, edit.old_value, edit.new_value,
       SUM(CASE WHEN run.job_version_number < edit.job_version_number
                THEN run.is_version_certain ELSE 0 END) AS runs_before,
       SUM(CASE WHEN run.job_version_number < edit.job_version_number
                THEN run.is_version_certain * run.is_success_lenient ELSE 0 END) AS good_before,
       SUM(CASE WHEN run.job_version_number = edit.job_version_number
                THEN run.is_version_certain ELSE 0 END) AS runs_after,
       SUM(CASE WHEN run.job_version_number = edit.job_version_number
                THEN run.is_version_certain * run.is_success_lenient ELSE 0 END) AS good_after,
       SUM(1 - run.is_version_certain) AS runs_uncertain
FROM rpt_job_change AS edit
JOIN rpt_run AS run ON run.job_id = edit.job_id
     AND run.job_version_number IN (edit.job_version_number - 1, edit.job_version_number)
WHERE edit.change_type = 'changed' AND run.final_ended_at IS NOT NULL
GROUP BY edit.job_id, edit.job_name, edit.detected_at, edit.field, edit.old_value, edit.new_value
ORDER BY edit.detected_at, edit.job_name, edit.field;
