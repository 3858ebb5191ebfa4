@echo off
rem Starts the shop on a developer machine.
setlocal
cd /d "%~dp0.."
if not exist node_modules call npm install
if errorlevel 1 exit /b 1
call npm start
endlocal
